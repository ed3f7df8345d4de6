"""The parts of `benchmarks/proxy_gpu.py`: what is measured (`case`), where (`processes`, `worker`), ladder and rows."""
