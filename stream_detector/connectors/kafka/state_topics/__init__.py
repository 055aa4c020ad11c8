"""The topics of the daemon itself: made where they are missing; snapshots on one of them."""
