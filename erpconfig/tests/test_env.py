"""Looking settings up, and refusing them without showing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from erpconfig import env
from erpconfig.env import Environment, Refused, SecretText


class TestLookingUp:
    def test_the_first_source_that_has_the_name_wins(self) -> None:
        assert Environment({"NAME": "process"}, {"NAME": "file"}).text("NAME") == "process"

    def test_the_next_source_is_asked_for_what_the_first_lacks(self) -> None:
        assert Environment({}, {"NAME": "file"}).text("NAME") == "file"

    def test_empty_means_not_set_even_when_a_later_source_has_it(self) -> None:
        assert Environment({"NAME": ""}, {"NAME": "file"}).text("NAME", default="default") == "default"

    @pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
    def test_a_file_holds_the_value_without_its_last_line_break(self, tmp_path: Path, ending: str) -> None:
        file = tmp_path / "secret"
        file.write_bytes(f"two words{ending}".encode())

        assert Environment({"NAME_FILE": str(file)}).text("NAME") == "two words"

    def test_a_file_named_by_the_process_beats_a_value_in_dot_env(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_text("from the file")

        assert Environment({"NAME_FILE": str(file)}, {"NAME": "from .env"}).text("NAME") == "from the file"

    def test_twice_in_one_source_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^NAME is set twice, directly and through NAME_FILE\.$"):
            Environment({"NAME": "a", "NAME_FILE": str(tmp_path)}).text("NAME")

    def test_a_file_that_cannot_be_read_is_refused_by_name(self, tmp_path: Path) -> None:
        missing = tmp_path / "missing"

        with pytest.raises(
            ImproperlyConfigured, match="NAME cannot be read from the file that NAME_FILE names"
        ) as error:
            Environment({"NAME_FILE": str(missing)}).text("NAME")

        assert str(missing) not in str(error.value)

    def test_what_is_not_set_is_refused_with_the_remedy(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"^NAME is not set\. Set it\.$"):
            Environment().text("NAME", remedy="Set it.")


class TestDotEnv:
    def test_it_is_read_without_touching_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / ".env"
        file.write_text("# comment\nERP_TEST_QUOTED='a b'\nexport ERP_TEST_EXPORTED=c\n")
        monkeypatch.setenv("ENV_FILE", str(file))

        settings = env.of_process()

        assert settings.text("ERP_TEST_QUOTED") == "a b"
        assert settings.text("ERP_TEST_EXPORTED") == "c"
        assert "ERP_TEST_QUOTED" not in env.os.environ

    def test_none_is_no_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENV_FILE", str(tmp_path / "missing"))

        assert env.of_process().text("ERP_TEST_MISSING", default="default") == "default"

    def test_what_is_not_text_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / ".env"
        file.write_bytes(b"NAME=\xff\n")
        monkeypatch.setenv("ENV_FILE", str(file))

        with pytest.raises(ImproperlyConfigured, match="cannot be read"):
            env.of_process()


class TestReading:
    @pytest.mark.parametrize(
        ("text", "value"), [("true", True), ("ON", True), ("1", True), ("no", False), ("0", False)]
    )
    def test_booleans(self, text: str, value: bool) -> None:
        assert Environment({"NAME": text}).boolean("NAME", default=not value) is value

    def test_a_misspelt_boolean_is_not_taken_for_false(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="neither true nor false"):
            Environment({"NAME": "ture"}).boolean("NAME", default=True)

    @pytest.mark.parametrize("text", ["-1", "0", "11", "1.5", "ten", "٣", " 5", "9" * 5000])
    def test_integers_outside_their_range_or_not_at_all(self, text: str) -> None:
        with pytest.raises(ImproperlyConfigured, match="is not a whole number from 1 to 10"):
            Environment({"NAME": text}).integer("NAME", default=5, low=1, high=10)

    def test_an_integer(self) -> None:
        assert Environment({"NAME": "10"}).integer("NAME", default=5, low=1, high=10) == 10

    def test_a_choice_in_any_case(self) -> None:
        assert Environment({"NAME": "json"}).choice("NAME", ("JSON", "TEXT"), default="TEXT") == "JSON"

    def test_an_unknown_choice(self) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"Set one of JSON, TEXT\."):
            Environment({"NAME": "xml"}).choice("NAME", ("JSON", "TEXT"), default="TEXT")


class TestSecrecy:
    def test_a_refusal_keeps_no_trace_of_the_value(self) -> None:
        def parse(text: str) -> str:
            raise Refused("is not good")

        with pytest.raises(ImproperlyConfigured) as error:
            Environment({"NAME": "s3cret"}).parsed("NAME", parse)

        assert "s3cret" not in repr(error.value)
        assert error.value.__context__ is None
        assert error.value.__cause__ is None

    def test_secret_text_does_not_show_itself(self) -> None:
        secret = SecretText("s3cret")

        assert secret == "s3cret"
        assert "s3cret" not in repr({"key": [secret]})
