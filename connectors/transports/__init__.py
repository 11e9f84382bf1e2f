"""One module per way to a far end: a document out, a receipt back. Transports know nothing of orders or formats."""
