"""SlimPajama, the model: configuration, modeling, tokenizer, training, evaluation. Knows nothing of the service.

Importing it registers the model with the Auto classes of `transformers` and lets exactly the name `slimpajama` stand
for the packaged checkpoint, so that `AutoModelForCausalLM.from_pretrained("slimpajama")` and
`pipeline("text-generation", model="slimpajama")` work offline and from any folder.
"""

from __future__ import annotations

from slimpajama.names import register

register()
