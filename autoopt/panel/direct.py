"""A way for commands that a running cell does not block.

What a widget sends waits in the kernel's main shell until the running cell is done: ipykernel
routes a widget's messages to the shell that last spoke through its comm. A comm that the page
opens, and through which Python never speaks, stays in the subshell that JupyterLab 4.4 and newer
open for it, and so is heard at once. Where there are no subshells the panel's commands go the
widget's way, and the page says that they wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, final

from comm import get_comm_manager


@final
class DirectWay:
    """Hear commands through comms of a target of this name, until `close`.

    Parameters
    ----------
    name
        Name of the comms' target, known to the page.
    perform
        Called with the content of each message, in a thread of its own: nothing that it sends may
        go out from the subshell, or the widget's own messages would be bound to that.
    """

    def __init__(self, name: str, perform: Callable[[object], None]) -> None:
        self._name = name
        self._perform = perform
        get_comm_manager().register_target(name, self._open)

    def close(self) -> None:
        """Hear no more; may be called again."""
        if self._name in get_comm_manager().targets:
            get_comm_manager().unregister_target(self._name, self._open)

    def _open(self, comm: Any, _message: object) -> None:
        comm.on_msg(self._hear)

    def _hear(self, message: Mapping[str, Any]) -> None:
        content = message["content"]["data"]
        threading.Thread(target=self._perform, args=(content,), daemon=True).start()
