"""Real prompts rendered: their source text with the variables filled, and nothing else changed."""

import re
from pathlib import Path

from domain.content import PromptContent
from domain.rendering import render_messages
from domain.texts import variables_of
from plugins.fabric import FabricImporter
from plugins.github_models import GitHubModelsImporter
from plugins.importer import ImportedPrompt

VALUE = "<{{other}} & \u2028{}>"


def test_every_prompt_of_the_collections_renders_to_its_source(collections: Path) -> None:
    fabric = list(FabricImporter().read(collections / "fabric"))
    models = list(GitHubModelsImporter().read(collections / "github-models"))
    prompts = [found for found in fabric + models if isinstance(found, ImportedPrompt)]
    assert len(prompts) == 255 + 7
    filled = 0
    for prompt in prompts:
        content = PromptContent.parse(prompt.content).value
        names = variables_of(content)
        values = {name: f"{name}{VALUE}" for name in names}
        expected = [
            {"role": m["role"], "content": _filled(m["content"], values)}
            for m in content["messages"]
        ]
        assert render_messages(content, values) == expected, prompt.name
        filled += len(names)
    assert filled > 20


def _filled(text: str, values: dict[str, str]) -> str:
    """By hand: every tag of a name by its value, in one pass."""
    for_name = re.compile(r"\{\{\s*(" + "|".join(map(re.escape, values)) + r")\s*\}\}")
    return for_name.sub(lambda found: values[found[1]], text) if values else text
