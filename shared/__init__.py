"""What front end, workers and the webhook service share: the domain, the store, image decoding, process parts."""
