"""Cards from the templates in `hub_cards/`: what a reader of the Hub sees first."""

from pathlib import Path

import jinja2
from huggingface_hub import CardData, DatasetCard, ModelCard, RepoCard, SpaceCard


CARDS: dict[str, type[RepoCard]] = {"model": ModelCard, "dataset": DatasetCard, "space": SpaceCard}

# In a checkout the templates lie at its top; a wheel brings them along.
_FOLDERS = (Path(__file__).parents[3] / "hub_cards", Path(__file__).parent / "hub_cards")


def render(kind: str, metadata: CardData, **context) -> str:
    """The text of a README.md: metadata as YAML, then the template filled in.

    Args:
        kind: "model", "dataset" or "space".
        metadata: what the Hub reads; `huggingface_hub` checks it.
        context: all that the template names.

    Raises:
        ValueError: the template names something that is not in `context`, or the metadata are not what the Hub takes.
    """
    template = next(folder / f"{kind}.md" for folder in _FOLDERS if (folder / f"{kind}.md").is_file())
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    try:
        body = environment.from_string(template.read_text(encoding="utf-8")).render(**context)
    except jinja2.UndefinedError as error:
        raise ValueError(f"{template.name}: {error}") from error
    return str(CARDS[kind](f"---\n{metadata.to_yaml()}\n---\n\n{body}"))
