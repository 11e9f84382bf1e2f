"""What an adapter's tests need: the contract every connector keeps, sample orders, and fakes."""
