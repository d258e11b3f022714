"""What the shop's paths cost, side by side with floors and peers on the same machine in the same rounds."""
