// Stream and Event: the order of work on a device. Work put on one stream runs in the order in which it was
// put there; an event marks a point in a stream that another stream, or the host, waits for. Plain values;
// the device's Backend makes and ends them. The CPU does everything at once and ignores them.
#pragma once

namespace lobit {

struct Stream {
  void* handle = nullptr;  // the device's own; nullptr is its default stream

  friend bool operator==(const Stream&, const Stream&) = default;
};

struct Event {
  void* handle = nullptr;

  friend bool operator==(const Event&, const Event&) = default;
};

}  // namespace lobit
