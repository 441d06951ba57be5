"""Run recorded captures through the live pipeline and print what it would have decided."""

import json
import time
from argparse import ArgumentParser
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from marketdata.capture import CaptureError, read_blocks, read_lines
from marketdata.costs import CostModel, fee_schedule
from marketdata.events import PRICE_SCALE, Market
from marketdata.features.feature_set import FEATURE_NAMES
from marketdata.features.replay import FeatureReplay, FeatureRows
from modeling.artifacts import ArtifactError
from modeling.scorer import ModelContractError
from signals.pipeline import PipelineOutput, SignalPipeline
from signals.presets import PRESETS
from signals.scorer import ScoringModel, scoring_model
from signals.session import Session, SessionError

HEAD_LINES = 4


class Command(BaseCommand):
    help = "Replay capture files through books, features, model and decisions, exactly as live would."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("captures", nargs="+", type=Path, metavar="CAPTURE", help="recorded files, oldest first")
        parser.add_argument("--market", required=True, choices=[market.value for market in Market])
        parser.add_argument("--model-version", help="a trained version, or 'rule' for the volume-burst rule")
        parser.add_argument("--book-out", type=Path, help="write the final books to this JSON file")
        parser.add_argument("--features-out", type=Path, help="write the feature rows to this Parquet file")
        parser.add_argument("--salvage", action="store_true", help="use what lies before the damage of a cut-off file")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, **options: Any) -> None:
        try:
            report = self._replay(options)
        except (CaptureError, SessionError, ArtifactError, ModelContractError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(f"Cannot write the result: {error}. Choose another place.", returncode=2) from error
        self.stdout.write(json.dumps(report) if options["as_json"] else readable(report))

    def _replay(self, options: dict[str, Any]) -> dict[str, Any]:
        market = Market(options["market"])
        heads = [list(islice(read_lines(path, salvage=options["salvage"]), HEAD_LINES)) for path in options["captures"]]
        refuse_disorder(options["captures"], heads)
        session = Session.from_lines(heads[0])
        named = options["model_version"] or (session.model_version if session else None)
        model = scoring_model(Path(settings.SURGE_MODELS_DIR), named)
        pipeline = build_pipeline(market, model, session)
        warm_up(market, model)
        kept: list[FeatureRows] | None = [] if options["features_out"] else None
        started = time.perf_counter()
        for path in options["captures"]:
            for block in read_blocks(path, salvage=options["salvage"]):
                keep(kept, pipeline.feed(block))
        keep(kept, pipeline.finish())
        seconds = time.perf_counter() - started
        refuse_strange(options["captures"], pipeline.replay)
        if kept is not None:
            write_features(options["features_out"], kept, pipeline.replay.symbols)
        if options["book_out"]:
            options["book_out"].write_text(json.dumps(books(pipeline.replay)))
        return report_of(pipeline, model, seconds)


def build_pipeline(market: Market, model: ScoringModel, session: Session | None) -> SignalPipeline:
    """Return a pipeline with the numbers of the recording's own session, or the presets where it names none."""
    strategies = session.strategies if session else PRESETS
    costs = CostModel.taker(fee_schedule(market, session.fee_tier if session else "VIP0"))
    return SignalPipeline(market, model.score, strategies, model.barriers, costs)


def warm_up(market: Market, model: ScoringModel) -> None:
    """Load the compiled code before the clock starts."""
    replay = FeatureReplay(market)
    replay.feed(b"")
    replay.finish()
    model.score(np.zeros((1, len(FEATURE_NAMES))))


def refuse_disorder(paths: list[Path], heads: list[list[bytes]]) -> None:
    """Captures of one replay must follow each other in time."""
    stamps = [head[0].partition(b" ")[0] for head in heads if head]
    starts = [int(stamp) for stamp in stamps if stamp.isdigit()]
    if starts != sorted(starts):
        names = ", ".join(path.name for path in paths)
        raise CaptureError(f"The captures are not in time order ({names}). Name the oldest first.")


def refuse_strange(paths: list[Path], replay: FeatureReplay) -> None:
    """A file without a single usable frame is not a capture."""
    if replay.parser.counts.events == 0:
        names = ", ".join(str(path) for path in paths)
        raise CaptureError(
            f"{names}: none of its {replay.parser.counts.messages} lines is a Binance frame. "
            'A line reads: <receive time in ns> {"stream":"btcusdt@depth@100ms","data":{...}}.'
        )


def keep(kept: list[FeatureRows] | None, output: PipelineOutput) -> None:
    if kept is not None:
        kept.append(output.rows)


def write_features(path: Path, parts: list[FeatureRows], symbols: list[str]) -> None:
    import pandas as pd  # half a second to import, needed for this option only

    frame = pd.DataFrame(np.concatenate([rows.X for rows in parts]), columns=list(FEATURE_NAMES))
    names = np.array(symbols, dtype=object)
    frame.insert(0, "symbol", names[np.concatenate([rows.symbol for rows in parts])] if len(frame) else [])
    frame.insert(0, "tick_ns", np.concatenate([rows.tick_ns for rows in parts]))
    frame.to_parquet(path, index=False)


def books(replay: FeatureReplay) -> dict[str, Any]:
    """Return every trusted book, best level first, prices as exact decimal strings."""
    return {
        symbol: {
            "last_update_id": replay.last_update_id(symbol),
            "bids": book_side(replay, symbol, "bid"),
            "asks": book_side(replay, symbol, "ask"),
        }
        for symbol in replay.symbols
        if replay.is_synced(symbol)
    }


def book_side(replay: FeatureReplay, symbol: str, side: str) -> list[list[str]]:
    return [
        [f"{price // PRICE_SCALE}.{price % PRICE_SCALE:08d}", repr(qty)]
        for price, qty in replay.book(symbol).levels(side).tolist()
    ]


def report_of(pipeline: SignalPipeline, model: ScoringModel, seconds: float) -> dict[str, Any]:
    counts = pipeline.replay.parser.counts
    return {
        "messages": counts.messages,
        "rejected": sum(counts.rejected.values()),
        "rejected_reasons": dict(sorted(counts.rejected.items())),
        "symbols": {name: report.as_dict() for name, report in pipeline.replay.report().items()},
        "events": counts.events,
        "feature_rows": pipeline.replay.feature_rows,
        "decisions": pipeline.decisions,
        "signals": pipeline.signals,
        "decisions_sha256": pipeline.decisions_sha256,
        "model_version": model.version,
        "seconds": round(seconds, 6),
        "messages_per_s": round(counts.messages / seconds) if seconds else 0,
    }


def readable(report: dict[str, Any]) -> str:
    lines = [
        f"{report['messages']} messages in {report['seconds']:.2f} s ({report['messages_per_s']} per second), "
        f"{report['rejected']} rejected {report['rejected_reasons'] or ''}".rstrip(),
        f"{report['feature_rows']} feature rows, {report['decisions']} decisions, {report['signals']} signals "
        f"with model {report['model_version']}",
    ]
    for name, row in report["symbols"].items():
        state = "synced" if row["synced"] else "NOT SYNCED"
        prices = f"{row['best_bid']} / {row['best_ask']}"
        lines.append(f"  {name:<14} {state:<10} gaps {row['gaps']}  resyncs {row['resyncs']}  {prices}")
    lines.append(f"decisions sha256 {report['decisions_sha256']}")
    return "\n".join(lines)
