"""Where backbones come from: names, hubs, files, open_clip, transformers."""
