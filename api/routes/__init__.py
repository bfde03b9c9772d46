"""One module per group of URLs. Routes read a request, call the store and answer; rules live in the other folders."""
