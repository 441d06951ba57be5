"""Settings in layers: who wins, where a value came from, and what a wrong one says."""

import json
from pathlib import Path

import pytest

from surge_site.config import ConfigError, config_explain, config_load, config_with_origins

GOOD_KEY = "".join(chr(code) for code in range(40, 100))
PRODUCTION = {
    "SURGE_MODE": "production",
    "SURGE_SECRET_KEY": GOOD_KEY,
    "SURGE_ALLOWED_HOSTS": "surge.example.org, www.example.org",
}


def sentences(environment: dict[str, str], folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        config_load(environment=environment, folder=folder)
    assert all(sentence.strip() for sentence in caught.value.sentences)
    return str(caught.value)


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    config = config_load(environment={}, folder=tmp_path)
    assert (config.mode, config.market, config.port) == ("demo", "spot", 8000)
    assert config.models_folder == config.var_dir / "models" / "demo"


def test_each_layer_wins_over_the_ones_before(tmp_path: Path) -> None:
    (tmp_path / "surge.toml").write_text('port = 1001\nlog_level = "ERROR"\nmarket = "usdm"\ndata_root = "/a"\n')
    (tmp_path / ".env").write_text("SURGE_PORT=1002\nSURGE_LOG_LEVEL=WARNING\nSURGE_MARKET=spot\nOTHER=1\n")
    environment = {
        "SURGE_PORT": "1003",
        "SURGE_LOG_LEVEL": "DEBUG",
        "SURGE_REDIS_URL": "redis://elsewhere:6379/0",
        "SURGE_OWN_ENGINES": json.dumps({"redis_url": "redis://127.0.0.1:1/0"}),
        "SURGE_COMMAND_LINE": json.dumps({"port": "1004"}),
    }
    config, origins = config_with_origins(environment=environment, folder=tmp_path)
    assert (config.port, origins["port"]) == (1004, "command line")
    assert (config.redis_url, origins["redis_url"]) == ("redis://127.0.0.1:1/0", "own engines")
    assert (config.log_level, origins["log_level"]) == ("DEBUG", "environment")
    assert (config.market, origins["market"]) == ("spot", ".env")
    assert (str(config.data_root), origins["data_root"]) == ("/a", "surge.toml")
    assert (config.mode, origins["mode"]) == ("demo", "default")


def test_the_settings_files_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SURGE_PORT=1002\n")
    assert config_load(environment={"SURGE_SETTINGS_FOLDER": str(tmp_path)}).port == 1002


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert config_load(environment={"SURGE_MARKET": ""}, folder=tmp_path).market == "spot"


def test_a_wrong_value_is_told_with_its_origin_and_the_choices(tmp_path: Path) -> None:
    told = sentences({"SURGE_MARKET": "sport"}, tmp_path)
    assert told == "SURGE_MARKET is 'sport' (environment): it must be 'spot' or 'usdm'."


def test_every_wrong_value_gets_its_own_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SURGE_PORT=many\n")
    told = sentences({"SURGE_MARKET": "x", "SURGE_DATABASE_URL": "mysql://a/b"}, tmp_path).splitlines()
    assert [line.split()[0] for line in sorted(told)] == ["SURGE_DATABASE_URL", "SURGE_MARKET", "SURGE_PORT"]
    assert any("write it as postgresql://host:port" in line for line in told)


def test_a_secret_is_not_repeated_in_the_sentence(tmp_path: Path) -> None:
    assert "hunter2" not in sentences({"SURGE_REDIS_URL": "http://:hunter2@host"}, tmp_path)


@pytest.mark.parametrize("where", ["environment", ".env", "surge.toml"])
def test_a_misspelt_name_is_refused_with_a_suggestion(where: str, tmp_path: Path) -> None:
    environment = {"SURGE_MARKETT": "usdm"} if where == "environment" else {}
    if where == ".env":
        (tmp_path / ".env").write_text("SURGE_MARKETT=usdm\n")
    if where == "surge.toml":
        (tmp_path / "surge.toml").write_text('markett = "usdm"\n')
    told = sentences(environment, tmp_path)
    assert told.startswith(f"SURGE_MARKETT ({where}) is not a setting: did you mean SURGE_MARKET")


def test_a_variable_of_another_program_is_none_of_our_business(tmp_path: Path) -> None:
    config_load(environment={"SURGE_PROTECTOR_WATTS": "3000"}, folder=tmp_path)


def test_a_broken_settings_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "surge.toml").write_text("port = \n")
    assert "is not a TOML file" in sentences({}, tmp_path)


def test_production_starts_with_all_it_needs(tmp_path: Path) -> None:
    config = config_load(environment=PRODUCTION, folder=tmp_path)
    assert config.allowed_hosts == ["surge.example.org", "www.example.org"]
    assert config.is_https
    assert config.exchange_rest == "https://api.binance.com"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SURGE_SECRET_KEY", "", "SURGE_SECRET_KEY must be your own key"),
        ("SURGE_SECRET_KEY", "short", "SURGE_SECRET_KEY must be your own key"),
        ("SURGE_SECRET_KEY", "demo-only-" + GOOD_KEY, "SURGE_SECRET_KEY must be your own key"),
        ("SURGE_SECRET_KEY", "a" * 60, "SURGE_SECRET_KEY must be your own key"),
        ("SURGE_DEBUG", "true", "SURGE_DEBUG must be false in production"),
        ("SURGE_ALLOWED_HOSTS", "", "SURGE_ALLOWED_HOSTS must name the host names"),
        ("SURGE_ALLOWED_HOSTS", "*", "SURGE_ALLOWED_HOSTS must name the host names"),
        (
            "SURGE_EXCHANGE_REST_URL",
            "http://127.0.0.1:8470",
            "production may not take a simulated exchange for Binance",
        ),
    ],
)
def test_production_refuses_what_is_not_safe(name: str, value: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in sentences({**PRODUCTION, name: value}, tmp_path)


def test_the_demo_never_talks_to_binance(tmp_path: Path) -> None:
    told = sentences({"SURGE_EXCHANGE_STREAM_URL": "wss://stream.binance.com:9443"}, tmp_path)
    assert "demo mode only talks to the simulated exchange" in told


def test_engines_by_url_need_all_three_urls(tmp_path: Path) -> None:
    told = sentences({"SURGE_ENGINES": "url", "SURGE_REDIS_URL": "redis://h:1/0"}, tmp_path)
    assert told == "SURGE_ENGINES is url, so also set SURGE_DATABASE_URL, SURGE_CLICKHOUSE_URL."


def test_explaining_names_every_setting_and_hides_secrets(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in config_explain(environment=PRODUCTION, folder=tmp_path)}
    assert rows["secret_key"]["value"] == "(hidden)"
    assert rows["mode"] == {
        "name": "mode",
        "value": "production",
        "origin": "environment",
        "meaning": "demo = simulated exchange, production = Binance",
    }
    assert all(row["meaning"] for row in rows.values())
    assert GOOD_KEY not in json.dumps(rows)


def test_the_example_file_names_real_settings_only(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[2] / ".env.example"
    lines = [line.removeprefix("# ") for line in example.read_text().splitlines()]
    names = [line.split("=")[0].removeprefix("SURGE_").lower() for line in lines if line.startswith("SURGE_")]
    known = {row["name"] for row in config_explain(environment={}, folder=tmp_path)}
    assert len(names) > 8
    assert set(names) <= known
