"""The demonstration: a residual network on scikit-learn's digits.

- `model`: the network, its training
- `data`: the digits, enlarged and split
"""
