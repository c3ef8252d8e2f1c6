"""Export of the networks for other software: ONNX files and bioimage.io packages."""
