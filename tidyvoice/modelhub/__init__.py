"""Model folders, their WeSpeaker configuration, and the Hugging Face Hub."""
