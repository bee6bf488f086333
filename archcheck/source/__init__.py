"""Evidence from text: files, notebooks and Markdown, read with `ast`, never with torch."""
