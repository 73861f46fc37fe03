"""Recipes: what is read, what is refused and how, and that the page about keys is the schema's own."""

from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.recipe.explain import as_markdown, explain, list_keys
from limbeck.recipe.load import dump_toml, load_recipe, packaged_recipes

ROOT = Path(__file__).resolve().parents[1]


def write(folder, text):
    path = folder / "r.toml"
    path.write_text('[recipe]\nname = "r"\n' + text)
    return str(path)


def test_every_packaged_recipe_loads_and_survives_being_written_and_read(tmp_path):
    assert {"cf", "cf-smoke", "cf-study", "cf-teacher"} <= packaged_recipes().keys()
    for name in packaged_recipes():
        recipe = load_recipe(name)
        (tmp_path / "again.toml").write_text(dump_toml(recipe))
        assert load_recipe(str(tmp_path / "again.toml")) == recipe


def test_strange_values_survive_being_written_and_read(tmp_path):
    recipe = load_recipe(write(tmp_path, '[teacher]\nmodel = "a\\nb\\t\\u007f\\"\\\\ \\U0001F600"\n[train]\nlr = 1e-5\n[student]\nextra = { a = [1, 2.5], "b c" = { d = true } }\n'))
    (tmp_path / "again.toml").write_text(dump_toml(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "again.toml")) == recipe


def test_set_takes_toml_values_and_bare_words(tmp_path):
    recipe = load_recipe(write(tmp_path, ""), ["train.lr=1e-3", "recipe.seeds=[0, 1]", "student.kind=masked", 'teacher.model="generator"'])
    assert (recipe.train.lr, recipe.recipe.seeds, recipe.student.kind, recipe.teacher.model) == (1e-3, (0, 1), "masked", "generator")


def test_a_recipe_without_a_name_takes_the_name_of_its_file(tmp_path):
    (tmp_path / "mine.toml").write_text("[train]\nsteps = 3\n")
    assert load_recipe(str(tmp_path / "mine.toml")).recipe.name == "mine"


SETTINGS = [
    ("train.stepz=1", "did you mean 'steps'"),
    ("trian.steps=1", "did you mean 'train'"),
    ("train.steps=many", "train.steps"),
    ("train.steps=true", "valid integer"),
    ('train.batch="8"', "valid integer"),
    ("train.compile=1", "valid boolean"),
    ("train.steps=0", "greater than or equal to 1"),
    ("train.lr=inf", "finite"),
    ("train.precision=fp16", "'bf16' or 'fp32'"),
    ("train=3", "train"),
    ("recipe=3", "recipe"),
    ("recipe.name=../x", "recipe.name"),
    ("recipe.seeds=[1, 1]", "repeats a seed"),
    ("student.heads=5", "not a multiple of heads"),
    ("train.steps", "KEY=VALUE"),
    ("train.steps.more=1", "does not lead to a key"),
]


@pytest.mark.parametrize(("setting", "says"), SETTINGS, ids=[s[0] for s in SETTINGS])
def test_a_bad_setting_is_named(setting, says, tmp_path):
    with pytest.raises(LimbeckError) as caught:
        load_recipe(write(tmp_path, "[train]\nsteps = 9\n"), [setting])
    assert says in str(caught.value) and len(str(caught.value).splitlines()) == 3


FILES = [
    ("recipe = 3\n", "recipe"),
    ('[[recipe]]\nname = "x"\n', "recipe"),
    ("arm = 3\n", "arm"),
    ("[train\n", "not readable TOML"),
    ('[recipe]\nname = "r"\n[[arm]]\nname = "x"\n[[arm]]\nname = "x"\n', "two students are called 'x'"),
    ('[recipe]\nname = "r"\n[[arm]]\nname = "student"\n', "two students are called 'student'"),
    ('[recipe]\nname = "r"\n[[arm]]\nname = "x"\nset = { "distill.prompts" = 1 }\n', "an arm cannot change"),
    ('[recipe]\nname = "r"\n[[arm]]\nname = "x"\nset = { "train.stepz" = 1 }\n', "stepz"),
    ('[recipe]\nname = "r"\n[[arm]]\nname = "x"\nset = { "student.heads" = 5 }\n', "not a multiple of heads 5"),
]


@pytest.mark.parametrize(("text", "says"), FILES, ids=[f[1] for f in FILES])
def test_a_bad_file_is_refused_in_three_lines(text, says, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(LimbeckError) as caught:
        load_recipe(str(tmp_path / "bad.toml"))
    assert says in str(caught.value) and len(str(caught.value).splitlines()) == 3


def test_every_key_has_help_and_can_be_asked_for_by_name():
    assert all(key.help for key in list_keys())
    assert explain("train.steps").kind == "whole number, at least 1"
    with pytest.raises(LimbeckError, match="no key"):
        explain("train.stepz")


def test_the_page_about_keys_is_what_the_schema_says():
    """To write it anew: python -c "from limbeck.recipe.explain import as_markdown as m; open('docs/recipe.md', 'w').write(m())"."""
    assert (ROOT / "docs" / "recipe.md").read_text() == as_markdown()
