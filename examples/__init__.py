"""Programs that use hwkm, small enough to copy from. The tests run them."""
