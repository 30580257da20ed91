"""How good a policy is: metrics that turn a table of generations into numbers."""
