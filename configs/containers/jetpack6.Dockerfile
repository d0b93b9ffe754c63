# Otter Edge on JetPack 6 (L4T 36.x, Orin): CUDA 12.6, TensorRT 10.3 and Python 3.10 of NVIDIA's image.
# Never built on a device. From the repository's root, on the Jetson:
#   docker build -f configs/containers/jetpack6.Dockerfile -t otter-edge:jp6 .
# and run as docs/jetson.md says. The tag has to be of the host's L4T: cat /etc/nv_tegra_release.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

RUN apt-get update && apt-get install -y --no-install-recommends \
        python3-venv python3-libnvinfer \
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

# --system-site-packages: TensorRT is the image's own. ONNX Runtime's CPU wheel is for everything
# that is no TensorRT engine; 1.23.2 is the last one for Python 3.10.
RUN python3 -m venv --system-site-packages /opt/otter-edge/venv \
    && /opt/otter-edge/venv/bin/pip install --no-cache-dir ./robots '.[cpu]' 'onnxruntime==1.23.2' 'cuda-bindings>=12.8,<13'

RUN useradd --create-home --groups video otter-edge
USER otter-edge
ENV PATH=/opt/otter-edge/venv/bin:$PATH
ENTRYPOINT ["otter-edge"]
CMD ["doctor"]
