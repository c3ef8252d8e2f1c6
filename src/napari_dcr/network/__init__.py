"""The network: tone curve, detail modules, sub-U-Nets, cascade, weights files."""
