"""What kferry's goals for speed are measured with; each module is a command, see docs/benchmarks.md."""
