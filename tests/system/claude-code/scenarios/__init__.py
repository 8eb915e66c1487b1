"""One file per scenario. Each has `run(lab, check)` and may name tools that it `NEEDS`."""
