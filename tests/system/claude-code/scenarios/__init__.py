"""One file per story. Each has `run(lab, check)` and may name tools that it `NEEDS`."""
