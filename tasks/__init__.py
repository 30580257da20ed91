"""What is to be learnt: examples, test prompts, and the metrics that judge each task."""
