# Otter Edge on JetPack 7.2 and later (L4T 39.x, Orin and Thor): NVIDIA's plain ARM64 (SBSA) image, with
# CUDA 13, TensorRT and Python 3.12. The "-igpu" images end with 26.02 and do not start on 7.2.
# Never built on a device. From the repository's root, on the Jetson:
#   docker build -f configs/containers/jetpack7.Dockerfile -t otter-edge:jp7 .
# Choose a release whose CUDA the host's driver has, with TensorRT 10.16 or later: the first for Orin on
# SBSA. With TensorRT 11, ONNX Runtime's TensorRT provider needs a build from source, our engine does not.
ARG BASE=nvcr.io/nvidia/tensorrt:26.03-py3
FROM ${BASE}

RUN apt-get update && apt-get install -y --no-install-recommends \
        python3-venv \
        gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/otter-edge/src
COPY pyproject.toml README.md LICENSE ./
COPY robots robots
COPY runtime runtime
COPY model model
COPY export export
COPY tuning/otter_tuning tuning/otter_tuning
COPY configs/devices /etc/otter-edge/devices

# --system-site-packages: TensorRT is the image's own.
RUN python3 -m venv --system-site-packages /opt/otter-edge/venv \
    && /opt/otter-edge/venv/bin/pip install --no-cache-dir ./robots '.[cpu]' 'cuda-bindings>=13,<14'

RUN useradd --create-home --groups video otter-edge
USER otter-edge
ENV PATH=/opt/otter-edge/venv/bin:$PATH
ENTRYPOINT ["otter-edge"]
CMD ["doctor"]
