"""lobit devices: what it says of this machine, and of devices that the build lacks."""

import os
import resource

from support import CliTest, lobit, main


def meminfo(key):
    with open("/proc/meminfo") as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), None)


class Devices(CliTest):
    def device(self, report, name):
        return next(d for d in report["devices"] if d["device"].split(":")[0] == name)

    def test_figures_are_those_of_the_machine(self):
        report = self.json("devices", "--no-measure")
        self.assertEqual(report["schema"], "lobit.devices.v1")
        cpu = self.device(report, "cpu")
        self.assertTrue(cpu["available"])
        has = cpu["capabilities"]
        self.assertEqual(has["memory_bytes"], meminfo("MemTotal"))
        self.assertEqual(has["page_bytes"], os.sysconf("SC_PAGE_SIZE"))
        self.assertLessEqual(has["threads"], len(os.sched_getaffinity(0)))
        self.assertTrue(has["unified_memory"])
        self.assertNotIn("bandwidth", has)

    def test_limits_of_the_process_are_told(self):
        def limit():
            # The shadow of a sanitizer counts too: 16 TiB.
            resource.setrlimit(resource.RLIMIT_DATA, (64 << 40, 64 << 40))

        run = self.ok("devices", "--no-measure", preexec_fn=limit)
        self.assertIn("RLIMIT_DATA 64 TiB", run.out)

    def test_affinity_counts(self):
        one = {min(os.sched_getaffinity(0))}
        has = self.device(
            self.json("devices", "--no-measure", preexec_fn=lambda: os.sched_setaffinity(0, one)), "cpu"
        )["capabilities"]
        self.assertEqual(has["threads"], 1)

    def test_bandwidth_is_measured_unless_it_is_not_wanted(self):
        measured = self.device(self.json("devices"), "cpu")["capabilities"]["bandwidth"]
        for key in ("read_one_gb_per_s", "copy_one_gb_per_s", "read_all_gb_per_s", "copy_all_gb_per_s"):
            self.assertGreater(measured[key], 0)
        self.assertIn("GB/s", self.ok("devices").out)
        self.assertNotIn("GB/s", self.ok("devices", "--no-measure").out)

    def test_absent_backends_name_their_option(self):
        report = self.json("devices", "--no-measure")
        out = self.ok("devices", "--no-measure").out
        for kind, option in {"cuda": "LOBIT_CUDA", "mlx": "LOBIT_MLX"}.items():
            device = self.device(report, kind)
            self.assertFalse(device["available"])
            self.assertIn(option, device["reason"])
            self.assertNotIn("capabilities", device)
            self.assertRegex(out, rf"(?m)^{kind} +no$")
            self.assertIn(option, out)
        self.assertEqual(report["selected"], "cpu")
        self.assertRegex(out, r"(?m)^cpu +yes, selected")

    def test_it_takes_no_arguments(self):
        self.fails(2, "lobit: error", "devices", "cpu")
        self.assertIn("`lobit devices`", lobit("device").err)


if __name__ == "__main__":
    main()
