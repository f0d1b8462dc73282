"""The commands of `pajama`, a file a subject. Each reads its arguments, wires what it needs and says how it went."""
