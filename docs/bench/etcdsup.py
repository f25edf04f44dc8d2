"""etcdsup for the peers' benchmark: copy to that harness's systems/. A stand-in takes etcd's place: etcd.binary names
the harness's own child, etcd.verify is off so that it gets no flags of etcd's, and being started is being ready."""
import glob
import os
import shutil

from . import System, go_version, gobin


class Etcdsup(System):
    name = "etcdsup"
    title = "etcdsup (everything linked in, etcd included)"
    order = 5
    variants = ("default", "min")
    settings = {
        "default": "as shipped, but for what a stand-in needs: health.ready=started, restart.reset_after=3s (it is never "
                   "confirmed healthy for a minute), archives not compressed (they are compared), no limit of size on all files",
        "min": "besides, restart.delay=0 and 3,600 starts an hour",
    }

    def programs(self):
        return [gobin("etcdsup")]

    def version(self):
        return go_version(gobin("etcdsup"), "github.com/etcdsup/etcdsup")

    def start(self, box, argv, variant, log):
        # bt under the name "run" takes its arguments from ./args: a stand-in gets none of etcdsup, and keeps its folder.
        shutil.copy(argv[0], box.path("run"))
        box.write("args", "\n".join(argv[1:]) + "\n")
        restart = "  delay: 0\n  max_delay: 0\n  per_hour: 3600\n" if variant == "min" else ""
        box.write("conf.yaml", f"""instance: bench
dir: {box.path("d")}
etcd:
  binary: {box.path("run")}
  verify: false
restart:
  reset_after: 3s
{restart}health:
  ready: started
log:
  dir: {log.dir}
  max_size: {log.size}
  keep_files: {log.keep}
  keep_total: 0
  compress: false
control:
  socket: {box.path("s")}
""")
        self.respawn(box)

    def respawn(self, box):
        box.spawn([gobin("etcdsup"), "run", "-c", box.path("conf.yaml")], "supervisor")
        return True

    def files(self, box, log):
        return sorted(glob.glob(os.path.join(log.dir, "etcd-*.log"))) + [os.path.join(log.dir, "etcd.log")]
