"""``hydra/launcher=concurrent``: run the points of a sweep at the same time in one process.

Points mostly wait for servers. As threads of one process they share connections, rate limits, the ledger and
the loaded model, and start without another Python. Only the commands of the runner can be launched like this,
since they take Hydra's settings from :mod:`runner.config.hydra_job` and not from Hydra's global object.
"""

# no `from __future__ import annotations` here: dataclasses would look up their types in sys.modules, and
# Hydra runs this file before it is there
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

MOST = 32


@dataclass
class ConcurrentConf:
    """``n_jobs`` points run at once; null means all of them, up to 32."""

    _target_: str = "hydra_plugins.runner_concurrent_launcher.ConcurrentLauncher"
    n_jobs: int | None = None
    in_this_process: bool = True
    """Tells :class:`runner.cli.sweep.OpenSweep` that the points are threads of this process."""


ConfigStore.instance().store(
    group="hydra/launcher", name="concurrent", node=ConcurrentConf, provider="runner"
)


class ConcurrentLauncher(Launcher):
    """Runs points as threads. Each point has its own result or failure, as with Hydra's own launchers."""

    def __init__(self, n_jobs: int | None = None, in_this_process: bool = True) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from runner.config.composer import Composer

        self.config, self.task_function = config, task_function
        self.composer = Composer(hydra_context.config_loader)  # type: ignore[arg-type]
        hydra_context.config_loader = self.composer  # type: ignore[assignment]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all points. A failure is in the return value of its point and does not stop the others."""
        from runner.core.retry import Interrupt
        from runner.engine import event_loop

        interrupt = Interrupt()
        setup_globals()
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        with open_dict(self.config):
            self.config.hydra.runtime.output_dir = str(folder)
        configure_log(self.config.hydra.job_logging, self.config.hydra.verbose)
        logging.captureWarnings(True)
        _register_resolver()
        pool = ThreadPoolExecutor(self.n_jobs or min(MOST, len(job_overrides)), thread_name_prefix="point")
        points = []
        try:
            for number, overrides in enumerate(map(list, job_overrides), initial_job_idx):
                config = self.composer.take(self.config, overrides)
                points.append(pool.submit(self._listen, interrupt, number, config, overrides))
            event_loop.wait_for(*points)
            return [point.result() for point in points]
        except BaseException:
            self._end(pool, interrupt)
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _end(self, pool: ThreadPoolExecutor, interrupt: Any) -> None:
        """End all points; they may delete their deployments first, until a second Ctrl-C."""
        from runner.engine import event_loop

        while True:
            interrupt.ask()
            event_loop.interrupt_all()
            try:
                pool.shutdown(cancel_futures=True)
                return
            except KeyboardInterrupt:
                continue

    def _listen(self, interrupt: Any, number: int, config: DictConfig, overrides: list[str]) -> JobReturn:
        with interrupt.listen():
            return self._run(number, config, overrides)

    def _run(self, number: int, config: DictConfig, overrides: list[str]) -> JobReturn:
        """Run one point in its own folder."""
        from runner.config.composer import copy_config, save_job
        from runner.config.hydra_job import use_settings

        result = JobReturn()
        result.overrides, result.hydra_cfg, result.working_dir = overrides, config, str(Path.cwd())
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"job_id_{number}", number
            folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
            config.hydra.runtime.output_dir = str(folder.absolute())
        result.cfg = copy_config(config)
        with read_write(result.cfg), open_dict(result.cfg):
            del result.cfg["hydra"]
        try:
            with use_settings(config.hydra):
                save_job(config, result.cfg, folder / ".hydra")
                result.return_value = self.task_function(result.cfg)
            result.status = JobStatus.COMPLETED
        except Exception as error:
            result.return_value = error
            result.status = JobStatus.FAILED
        return result


def _register_resolver() -> None:
    """Let ``${hydra:job.num}`` mean the point of this thread; Hydra's resolver knows one job per process."""
    from runner.config import hydra_job

    def resolve(path: str) -> Any:
        return OmegaConf.select(hydra_job.get_settings(), path)

    OmegaConf.register_new_resolver("hydra", resolve, replace=True)
