"""What happens while the live traffic runs, and what a visitor is told of it: well, worse, found, well again, over."""

import queue
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo import history, service
from demo.client import Client, Refused, Unanswered
from demo.screen import Screen, grouped, lasting
from demo.traffic import Traffic

WELL_SECONDS = 120.0
"""From the first live answer to the change."""

WORSE_SECONDS = 600.0
"""From the incident to the end of its cause, unless the visitor does something first."""

_STATUS_SECONDS = {"well": 30.0, "worse": 15.0, "found": 60.0, "healing": 60.0, "over": 300.0}
_PATIENCE_SECONDS = 480.0
_POLL_SECONDS = 5.0
_MANY_WAITING = 20

Message = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """Where to look."""

    base_url: str
    experiment_id: int
    monitor_id: int

    @property
    def home(self) -> str:
        return f"{self.base_url}/admin/?window=2h"

    @property
    def experiment(self) -> str:
        return f"{self.base_url}/admin/experiments/experiment/{self.experiment_id}/change/"

    @property
    def monitor(self) -> str:
        return f"{self.base_url}/admin/monitoring/monitor/{self.monitor_id}/change/"

    @property
    def deliveries(self) -> str:
        return f"{self.base_url}/admin/monitoring/outboxmessage/"

    @property
    def health(self) -> str:
        return f"{self.base_url}/admin/monitoring/channel/health/"

    def incident(self, incident_id: str) -> str:
        return f"{self.base_url}/admin/monitoring/incident/{incident_id}/change/"


class Story:
    """Goes on by `tick`, about once a second; the receiver puts what it is told into `inbox`, from its own thread."""

    def __init__(self, client: Client, screen: Screen, traffic: Traffic, places: Places) -> None:
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._client, self._screen, self._traffic, self._places = client, screen, traffic, places
        self._phase = "well"
        self._phase_at = self._told_at = self._polled_at = time.monotonic()
        self._changed_at = 0.0
        self._open: list[dict[str, Any]] = []
        self._was_in_experiment = True
        self._is_patience_over = False
        self._is_repeat = False

    def begin(self) -> None:
        """Say what is coming; an incident that an earlier run left open has to end first."""
        self._open = self._open_incidents() or []
        if not self._open:
            self._start()
            return
        self._is_repeat = True
        self._enter("healing")
        self._screen.say(
            "An incident of an earlier run is open. Its cause is gone, so it resolves by itself after"
        )
        self._screen.say(f"about five minutes of good numbers: {self._places.incident(self._open[0]['id'])}")

    def _start(self) -> None:
        self._enter("well")
        self._screen.say(
            f"Live: {history.LIVE_ANSWERS_PER_SECOND:g} answers a second from three models, and all is well."
        )
        self._screen.say(f"In {lasting(WELL_SECONDS)} {service.WORSE} gets worse. Watch {self._places.home}")

    def tick(self) -> None:
        now = time.monotonic()
        arrived = [self.inbox.get() for _ in range(self.inbox.qsize())]
        if arrived or now - self._polled_at >= _POLL_SECONDS:
            self._polled_at = now
            self._look()
        is_found = False
        if self._phase == "well":
            self._while_well(now)
        elif self._phase == "worse":
            is_found = self._while_worse(now)
        for message in arrived:
            self._hear(message)
        if is_found:
            self._advise(self._open[0])
        elif self._phase == "found":
            self._while_found(now)
        elif self._phase == "healing" and not self._open:
            self._finish()
        if now - self._told_at >= _STATUS_SECONDS[self._phase]:
            self._status(now)

    def _while_well(self, now: float) -> None:
        if now - self._phase_at < WELL_SECONDS or not self._traffic.is_in_experiment:
            return
        self._traffic.is_worse = True
        self._changed_at = time.time()
        self._enter("worse")
        before, after = service.MODELS[service.WORSE].helpfulness, service.WORSE_HELPFULNESS
        self._screen.say(
            f"{service.WORSE} gets worse now: helpfulness falls from {before:g} to {after:g}. Nobody tells TriageOps;"
        )
        self._screen.say(
            "it has to find out from what the judge and the patients say. That takes two or three minutes."
        )

    def _while_worse(self, now: float) -> bool:
        """Whether the incident was found just now."""
        if self._open:
            self._enter("found")
            incident = self._open[0]
            after = datetime.fromisoformat(incident["opened_at"]).timestamp() - self._changed_at
            self._screen.say(f"Incident opened {lasting(after)} after the change: {incident['title']}.")
            return True
        if now - self._phase_at > _PATIENCE_SECONDS and not self._is_patience_over:
            self._is_patience_over = True
            self._screen.say(
                f"No incident after {lasting(_PATIENCE_SECONDS)}. Is its monitor active? {self._places.monitor}"
            )
        return False

    def _advise(self, incident: dict[str, Any]) -> None:
        places = self._places
        self._screen.block(
            "What you can do now",
            "",
            f"  read it, acknowledge it      {places.incident(incident['id'])}",
            f"  see the evidence             {places.monitor}",
            f"  see who was told, and when   {places.deliveries}",
            f"  see whether channels work    {places.health}",
            f"  stop the experiment          {places.experiment}",
            "                               everybody gets gpt-4 then; resolve the incident by hand",
            f"  wait                         in {lasting(WORSE_SECONDS)} {service.WORSE} is repaired, and the incident",
            "                               resolves by itself about five minutes later",
        )

    def _while_found(self, now: float) -> None:
        if not self._open:
            self._finish()
        elif now - self._phase_at >= WORSE_SECONDS:
            self._traffic.is_worse = False
            self._enter("healing")
            self._screen.say(
                f"{service.WORSE} is repaired. After about five minutes of good numbers the incident resolves."
            )

    def _finish(self) -> None:
        self._traffic.is_worse = False
        if self._is_repeat:
            self._is_repeat = False
            self._start()
            return
        self._enter("over")
        self._screen.say(
            "The incident is over, and with it the story; the traffic goes on. Ctrl-C ends the demo,"
        )
        self._screen.say("the next bin/up --demo starts with live traffic at once.")

    def _hear(self, message: Message) -> None:
        """A delivery: signed, and never heard before."""
        data = message["data"]
        said = {
            "incident.opened": f"The alert has arrived at the demo's webhook: {data.get('effect_text') or data['title']}.",
            "incident.acknowledged": "The webhook was told that somebody takes care of the incident.",
            "incident.resolved": f"The webhook was told that the incident is over. {data.get('summary', '')}",
            "channel.test": f"A test message has arrived: {data.get('summary', '')}",
        }
        self._screen.say(
            said.get(message["type"], f"A message of an unknown type has arrived: {message['type']}.")
        )

    def _look(self) -> None:
        found = self._open_incidents()
        if found is not None:
            self._open = found
        if self._was_in_experiment and not self._traffic.is_in_experiment:
            self._screen.say(
                "The experiment was stopped: everybody gets gpt-4 from now on, and nothing can get worse."
            )
        self._was_in_experiment = self._traffic.is_in_experiment

    def _open_incidents(self) -> list[dict[str, Any]] | None:
        """Those of the demo's monitor; None when nobody answers."""
        try:
            path = f"/incidents?state=open&monitor={self._places.monitor_id}"
            found: list[dict[str, Any]] = self._client.once("GET", path)["results"]
        except (Unanswered, Refused):
            return None
        return found

    def _enter(self, phase: str) -> None:
        self._phase = phase
        self._phase_at = self._told_at = time.monotonic()

    def _status(self, now: float) -> None:
        self._told_at = now
        counts = self._traffic.answer_count
        parts = ", ".join(f"{key} {grouped(counts[key])}" for key in service.MODELS)
        text = f"{grouped(sum(counts.values()))} live answers: {parts}"
        if self._phase == "well" and self._traffic.is_in_experiment:
            text += f"; {service.WORSE} gets worse in {lasting(WELL_SECONDS - (now - self._phase_at))}"
        elif self._phase == "worse":
            text += f"; worse for {lasting(now - self._phase_at)}, not found yet"
        elif self._open:
            text += f"; the incident is {self._open[0]['state']}"
        if self._traffic.waiting_count > _MANY_WAITING:
            text += f"; {grouped(self._traffic.waiting_count)} calls wait"
        self._screen.say(text)
