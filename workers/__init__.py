"""The GPU side: claims Turns, turns Prompts into token ids, and streams answers. Knows no platform."""
