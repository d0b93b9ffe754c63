"""TensorRT on the device: building engines, running them, and ONNX Runtime's TensorRT provider.

Held to the API of TensorRT 10.3 and 11.4 and of cuda-bindings 12.8 and 13.5, and driven in tests
by a stand-in with their signatures. It has never run on a device.
"""
