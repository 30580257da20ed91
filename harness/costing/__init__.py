"""What a study would cost, worked out before anything runs: tokens, FLOPs, memory and hours."""
