"""Kills, signals, full disks, bad inputs: the target is the old one or absent, and nothing is left over."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from support import KIB, MIB, PROGRAM, CliTest, Safetensors, digest, f16_bytes, lobit, main, tree, weights
from support import write_safetensors

PARTIAL = ".lobit-partial-"


class Overwrite(CliTest):
    def test_existing_targets_are_refused_and_not_touched(self):
        source = self.small_model()
        for name in ("o.gguf", "o.safetensors"):
            target = self.path(name)
            target.write_bytes(b"precious")
            self.fails(2, [str(target), "--overwrite"], "convert", source, "-o", target, "--to", "q8_0")
            self.assertEqual(target.read_bytes(), b"precious")
            self.fails(2, "--overwrite", "synth", "-o", target, "--size", "1MiB")
            self.assertEqual(target.read_bytes(), b"precious")
            self.ok("convert", source, "-o", target, "--to", "q8_0", "--overwrite")
            self.ok("verify", source, target, "--nmse", "0.001")
            self.ok("synth", "-o", target, "--size", "1MiB", "--overwrite")
        self.assert_no_leftovers()

    def test_links_to_nowhere_exist_too(self):
        self.path("o.gguf").symlink_to(self.path("absent"))
        self.fails(2, "--overwrite", "convert", self.small_model(), "-o", self.path("o.gguf"), "--to", "q8_0")

    def test_any_part_of_a_split_target_counts(self):
        source = self.synth("m.gguf")
        args = ("convert", source, "-o", self.path("s.gguf"), "--to", "q8_0", "--split-max-size", "100KB")
        self.ok(*args)
        parts = sorted(self.folder.glob("s-*.gguf"))
        for part in parts[:-1]:
            part.unlink()
        before = tree(self.folder)
        self.fails(2, [parts[-1].name, "--overwrite"], *args)
        self.assertEqual(tree(self.folder), before)

    def test_a_failed_overwrite_keeps_the_old_file(self):
        values = weights(64 * 1024)
        values[50_000] = float("nan")
        source = write_safetensors(self.path("m.safetensors"), [("w", "F16", (64, 1024), f16_bytes(values))])
        target = self.path("o.safetensors")
        target.write_bytes(b"old")
        self.fails(1, "element 50000", "convert", source, "-o", target, "--to", "q8_0", "--overwrite")
        self.assertEqual(target.read_bytes(), b"old")
        self.assert_no_leftovers()

    def test_a_failure_leaves_no_new_folder(self):
        values = weights(1024)
        values[7] = float("inf")
        source = write_safetensors(self.path("m.safetensors"), [("w", "F16", (2, 512), f16_bytes(values))])
        self.fails(1, "element 7", "convert", source, "-o", self.path("out"), "--to", "q8_0")
        self.assertFalse(self.path("out").exists())


class Interrupted(CliTest):
    """A conversion of some size on one thread, stopped as soon as its temporary file is there."""

    @classmethod
    def setUpClass(cls):
        holder = tempfile.TemporaryDirectory(prefix="lobit-cli-")
        cls.addClassCleanup(holder.cleanup)
        cls.source = Path(holder.name) / "m.gguf"
        assert lobit("synth", "-o", cls.source, "--size", "300MiB").code == 0

    def partials(self, folder=None):
        return [p for p in os.listdir(folder or self.folder) if p.startswith(PARTIAL)]

    def wait_for_partial(self, process, folder=None):
        """Returns once the process has ended, or its temporary file is locked and has got its size."""
        folder = folder or self.folder
        while process.poll() is None:
            try:
                if any((folder / name).stat().st_size > 0 for name in self.partials(folder)):
                    return
            except FileNotFoundError:  # not there yet, or renamed just now
                pass

    def interrupt(self, number, *args):
        """Returns the exit code and stderr of a run that the signal met in mid-run."""
        command = [PROGRAM, "convert", str(self.source), "--threads", "1", *map(str, args)]
        for _ in range(20):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.wait_for_partial(process)
            process.send_signal(number)
            stderr = process.communicate(timeout=60)[1].decode()
            if process.returncode != 0:
                return process.returncode, stderr
            for path in self.folder.glob("new*"):  # it was faster
                path.unlink()
        self.fail("every run was complete before the signal came")

    def test_a_kill_leaves_the_old_target_and_the_next_run_cleans_up(self):
        target = self.path("old.gguf")
        target.write_bytes(b"old")
        code, _ = self.interrupt(signal.SIGKILL, "-o", target, "--to", "q8_0", "--overwrite")
        self.assertEqual(code, -signal.SIGKILL)
        self.assertEqual(target.read_bytes(), b"old")
        self.assertEqual(len(self.partials()), 1)
        self.assertGreater(self.path(self.partials()[0]).stat().st_size, 0)
        self.ok("convert", self.small_model("in.gguf"), "-o", target, "--to", "q8_0", "--overwrite")
        self.assertEqual(self.partials(), [])
        self.ok("verify", self.path("in.gguf"), target, "--nmse", "0.001")

    def test_a_kill_leaves_an_absent_target_absent(self):
        code, _ = self.interrupt(signal.SIGKILL, "-o", self.path("new.gguf"), "--to", "tq2_0", "--ternary", "absmean")
        self.assertEqual(code, -signal.SIGKILL)
        self.assertEqual([p for p in os.listdir(self.folder) if not p.startswith(PARTIAL)], [])
        self.ok("synth", "-o", self.path("other.gguf"), "--size", "1MiB")
        self.assertEqual(os.listdir(self.folder), ["other.gguf"])

    def test_a_kill_leaves_no_part_of_a_split_target(self):
        code, _ = self.interrupt(
            signal.SIGKILL, "-o", self.path("new.gguf"), "--to", "q8_0", "--split-max-size", "20MiB"
        )
        self.assertEqual(code, -signal.SIGKILL)
        self.assertEqual(list(self.folder.glob("*.gguf")), [])

    def test_a_run_leaves_the_files_of_a_living_one(self):
        target = self.path("new.gguf")
        for _ in range(20):
            command = [PROGRAM, "convert", str(self.source), "-o", str(target), "--to", "q8_0", "--threads", "1"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for_partial(process)
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # the signal takes its time
            living = self.partials()
            if living:
                self.ok("synth", "-o", self.path("other.gguf"), "--size", "1MiB", "--overwrite")
                self.assertEqual(self.partials(), living)
            process.send_signal(signal.SIGCONT)
            self.assertEqual(process.wait(timeout=60), 0)
            self.ok("verify", self.source, target, "--nmse", "0.001")
            if living:
                return
            target.unlink()
        self.fail("every run was complete before it could be stopped")

    def test_an_input_that_is_cut_short_while_it_is_read(self):
        source, target = self.path("cut.gguf"), self.path("new.gguf")
        for _ in range(20):
            self.synth("cut.gguf", "100MiB", "--overwrite")
            process = subprocess.Popen(
                [PROGRAM, "convert", str(source), "-o", str(target), "--to", "q8_0", "--threads", "1"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            self.wait_for_partial(process)
            os.truncate(source, MIB)
            stderr = process.communicate(timeout=60)[1].decode()
            if process.returncode != 0:
                self.assertEqual(process.returncode, 1)
                self.assertRegex(stderr, r"lobit: error: .*cut\.gguf: ends at \d+")
                self.assertEqual(os.listdir(self.folder), ["cut.gguf"])
                return
            target.unlink()
        self.fail("every run was complete before its input was cut")

    def test_ctrl_c_and_sigterm_end_it_with_a_message(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            code, stderr = self.interrupt(number, "-o", self.path("new.gguf"), "--to", "q8_0")
            self.assertEqual(code, 1)
            self.assertIn("lobit: error: stopped", stderr)
            self.assertEqual(os.listdir(self.folder), [])
        folder = self.path("new")
        for _ in range(20):
            command = [PROGRAM, "convert", str(self.source), "-o", str(folder), "--to", "q8_0", "--threads", "1"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.wait_for_partial(process, folder)
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=60) == 1:
                self.assertFalse(folder.exists(), "the folder that it made is gone")
                return
            shutil.rmtree(folder)
        self.fail("every run was complete before the signal came")

    def test_ctrl_c_ends_synth_inspect_and_verify(self):
        for args in (("inspect", self.source, "--stats"), ("verify", self.source, self.source)):
            ended = set()
            for _ in range(20):
                process = subprocess.Popen(
                    [PROGRAM, *map(str, args), "--threads", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                time.sleep(0.05)
                process.send_signal(signal.SIGINT)
                stderr = process.communicate(timeout=60)[1].decode()
                ended.add(process.returncode)
                if process.returncode == 1:
                    self.assertIn("stopped", stderr)
                    break
            self.assertIn(1, ended, args)
        target = self.path("new.gguf")
        for _ in range(20):
            process = subprocess.Popen(
                [PROGRAM, "synth", "-o", str(target), "--size", "300MiB", "--threads", "1"], stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            self.wait_for_partial(process)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            if process.returncode == 1:
                self.assertEqual(os.listdir(self.folder), [])
                return
            target.unlink()
        self.fail("every run was complete before the signal came")


class FullDisk(CliTest):
    def limited(self, size):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        return {"preexec_fn": limit}

    def test_a_file_size_limit_is_an_error_that_names_the_file(self):
        source = self.synth("m.gguf", "2MiB")
        before = tree(self.folder)
        for name in ("o.gguf", "o.safetensors", "folder"):
            target = self.path(name)
            args = ("convert", source, "-o", target, "--to", "q8_0")
            self.fails(1, str(target), *args, **self.limited(300 * KIB))
            self.assertEqual(tree(self.folder), before)
            self.assertFalse(target.exists())
        self.fails(
            1, "s-0000", "convert", source, "-o", self.path("s.gguf"), "--to", "f32", "--split-max-size", "1MiB",
            **self.limited(100 * KIB),
        )  # fmt: skip
        self.fails(1, "big.gguf", "synth", "-o", self.path("big.gguf"), "--size", "2MiB", **self.limited(MIB))
        self.assertEqual(tree(self.folder), before)

    def test_an_old_target_outlives_a_full_disk(self):
        source = self.synth("m.gguf", "2MiB")
        target = self.path("o.gguf")
        target.write_bytes(b"old")
        args = ("convert", source, "-o", target, "--to", "q8_0", "--overwrite")
        self.fails(1, "o.gguf", *args, **self.limited(300 * KIB))
        self.assertEqual(target.read_bytes(), b"old")
        self.assert_no_leftovers()

    def test_a_report_that_does_not_fit(self):
        page = self.path("page.html")
        self.fails(1, "page.html", "inspect", self.small_model(), "--report", page, **self.limited(2 * KIB))
        self.assertFalse(page.exists())
        self.assert_no_leftovers()

    def test_a_small_disk(self):
        disk = self.path("disk")
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            self.skipTest("mounting a small tmpfs is not allowed here")
        try:
            source = self.synth("m.gguf", "2MiB")
            for target in (disk / "o.gguf", disk / "folder"):
                run = self.fails(1, str(target), "convert", source, "-o", target, "--to", "f32")
                self.assertIn("No space left", run.err)
                self.assertEqual(list(disk.iterdir()), [])
            self.ok("convert", source, "-o", disk / "o.gguf", "--to", "tq2_0")
            self.assertEqual([p.name for p in disk.iterdir()], ["o.gguf"])
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class BadInputs(CliTest):
    def refused(self, source, says, code=1):
        for args in [
            ("convert", source, "-o", self.path("o.gguf"), "--to", "f32"),
            ("convert", source, "-o", self.path("out"), "--to", "f32"),
            ("inspect", source),
            ("verify", source, source),
        ]:
            run = self.fails(code, says, *args, timeout=10)
            self.assertIn(Path(source).name, run.err)
        self.assertFalse(self.path("o.gguf").exists())
        self.assertFalse(self.path("out").exists())
        self.assert_no_leftovers()

    def test_a_pipe_and_a_device_are_refused_without_waiting(self):
        os.mkfifo(self.path("pipe.gguf"))
        self.refused(self.path("pipe.gguf"), "expected a regular file")
        self.refused(Path("/dev/zero"), "expected a regular file")

    def test_a_vanished_input(self):
        self.refused(self.path("absent.gguf"), "No such file")
        self.path("link.gguf").symlink_to(self.path("absent.gguf"))
        self.refused(self.path("link.gguf"), "No such file")

    def test_an_unreadable_input(self):
        source = self.small_model()
        source.chmod(0)
        options = {}
        if os.geteuid() == 0:  # root reads everything
            self.folder.chmod(0o755)
            options["user"] = 65534
            try:
                lobit("--version", **options)
            except PermissionError:
                self.skipTest("the program lies where only root may run it")
        for args in [("inspect", source), ("convert", source, "-o", self.path("o.gguf"), "--to", "f32")]:
            self.fails(1, ["small.gguf", "Permission denied"], *args, **options)
        self.fails(1, "o.gguf", "synth", "-o", Path("/proc/1/o.gguf"), "--size", "1MiB", **options)

    def test_a_truncated_input(self):
        data = self.synth("m.gguf").read_bytes()
        st = self.synth("m.safetensors").read_bytes()
        for name, whole in (("cut.gguf", data), ("cut.safetensors", st)):
            for size in (len(whole) - 1, len(whole) // 2, 1000, 30, 9, 3):
                with self.subTest(name=name, size=size):
                    self.path(name).write_bytes(whole[:size])
                    self.refused(self.path(name), "lobit: error")

    def test_a_target_that_cannot_be(self):
        source = self.small_model()
        for target in (self.path("no/such/o.gguf"), self.path("small.gguf/o.gguf"), Path("/proc/o.gguf")):
            self.fails(1, "o.gguf", "convert", source, "-o", target, "--to", "q8_0")
        self.fails(2, "found ''", "convert", source, "-o", "", "--to", "q8_0")
        self.path("dir.gguf").mkdir()  # a folder, whatever it is called
        self.ok("convert", source, "-o", self.path("dir.gguf"), "--to", "q8_0")
        self.assertEqual([p.name for p in self.path("dir.gguf").iterdir()], ["model.safetensors"])

    def test_a_folder_cannot_become_a_file_name(self):
        self.path("file").write_bytes(b"x")
        run = self.fails(1, "file", "convert", self.small_model(), "-o", self.path("file"), "--to", "q8_0")
        self.assertNotIn("out of memory", run.err)
        self.assertEqual(self.path("file").read_bytes(), b"x")

    def test_a_companion_that_cannot_be_read(self):
        folder = self.path("hf")
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", [("w", "F16", (2, 32), f16_bytes(weights(64)))])
        (folder / "config.json").symlink_to(folder / "absent.json")
        os.mkfifo(folder / "pipe.json")
        self.ok("convert", folder, "-o", self.path("out"), "--to", "bf16", timeout=10)
        self.assertEqual([p.name for p in self.path("out").iterdir()], ["model.safetensors"])


class Permissions(CliTest):
    def test_new_files_have_the_usual_mode(self):
        source = self.small_model()
        mask = os.umask(0o027)
        try:
            self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0")
            self.ok("convert", source, "-o", self.path("out"), "--to", "q8_0")
        finally:
            os.umask(mask)
        self.assertEqual(self.path("o.gguf").stat().st_mode & 0o777, 0o640)
        self.assertEqual((self.path("out") / "model.safetensors").stat().st_mode & 0o777, 0o640)

    def test_success_leaves_only_the_target(self):
        source = self.synth("m.gguf")
        for args in [(), ("--sync",), ("--verify",)]:
            self.ok("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0", "--overwrite", *args)
            self.assertEqual(sorted(os.listdir(self.folder)), ["m.gguf", "o.gguf"])
        self.assertEqual(digest(source), digest(self.synth("m2.gguf")))
        self.ok("convert", source, "-o", self.path("o.safetensors"), "--to", "q8_0")
        self.assertTrue(Safetensors(self.path("o.safetensors")).tensors)


if __name__ == "__main__":
    main()
