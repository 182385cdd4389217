"""Publishing an export to the Hugging Face Hub: what it holds, what the Hub has of it, and one commit of the rest."""
