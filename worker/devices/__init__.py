"""The devices that models run on: which there are, which one a worker takes, and what PyTorch says about them."""
