"""Files: models, and what trains them, in safetensors files without any code in them."""
