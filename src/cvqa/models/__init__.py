"""The models, in flat files that travel to the Hub with the weights.

Importing this package registers them with the Auto classes and the pipelines of transformers, and marks them so that
`save_pretrained` puts their code beside the weights: a saved folder also loads where cvqa is not installed, with
`trust_remote_code=True`.
"""

from importlib.util import find_spec


# Where torch is not installed, what needs numpy alone can still be imported: an exported model is scored without torch.
if find_spec("torch") and find_spec("transformers"):
    from .registration import *  # noqa: F403
    from .registration import __all__  # noqa: F401
