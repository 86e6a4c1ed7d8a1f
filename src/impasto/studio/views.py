"""What the HTTP interface says of jobs and styles, in JSON."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from impasto.studio.jobs import StudioJob
from impasto.studio.problems import of_failure

__all__ = ["JobView", "ProgressView", "StyleView", "StylesView", "view_of"]


class ProgressView(BaseModel):
    """How far a job is."""

    phase: Literal["reading", "draft", "painting", "writing"] = Field(description="What is being done.")
    share: float = Field(description="How much of that is done, from 0 to 1.")
    done: float = Field(description="Steps of an optimisation, or the share of a network's work.")
    total: float = Field(description="Of how many.")
    seconds: float = Field(description="Since the job began.")
    left: float | None = Field(None, description="Seconds that the rest should take, where that is known.")
    width: int | None = Field(None, description="Of what is being painted, px.")
    height: int | None = Field(None, description="Of what is being painted, px.")
    losses: dict[str, float] = Field(default_factory=dict, description="Of an optimisation, weighted, by name.")
    seen_by: str | None = Field(None, description="The network that saw this step, where two take turns.")


class JobView(BaseModel):
    """A job."""

    id: str = Field(description="What it is asked for by.")
    state: Literal["queued", "running", "done", "failed", "cancelled"] = Field(description="Where it stands.")
    progress: ProgressView | None = Field(None, description="How far it is, once it has begun.")
    notes: list[str] = Field(default_factory=list, description="Sentences about the result.")
    summary: str = Field("", description="What was painted and by what.")
    problem: dict[str, Any] | None = Field(None, description="Why it failed (RFC 9457).")
    links: dict[str, str] = Field(description="Addresses of the job, its events, its preview and its result.")


class StyleView(BaseModel):
    """A style that is known by name."""

    name: str
    title: str | None = None
    artist: str | None = None
    year: str | None = None


class StylesView(BaseModel):
    """The styles that are known by name."""

    styles: list[StyleView]


def view_of(job: StudioJob) -> JobView:
    """A job as it is now."""
    here = f"/v1/jobs/{job.id}"
    return JobView(
        id=job.id,
        state=job.state,
        progress=None if job.progress is None else _progress(job.progress, job.size),
        notes=list(job.notes),
        summary=job.summary,
        problem=None if job.failure is None else of_failure(job.failure).body,
        links={"self": here, **{name: f"{here}/{name}" for name in ("events", "preview", "result")}},
    )


def _progress(record: Any, size: tuple[int, int] | None) -> ProgressView:
    height, width = record["size"] or size or (None, None)
    share = record["done"] / record["total"] if record["total"] else 1.0
    told = {name: record[name] for name in ("phase", "done", "total", "seconds", "left", "losses", "seen_by")}
    return ProgressView(share=share, width=width, height=height, **told)
