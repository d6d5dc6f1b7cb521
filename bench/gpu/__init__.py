"""What `bench/gpu_check.py` runs on a machine with a GPU: a module for each section, a row for each figure."""
