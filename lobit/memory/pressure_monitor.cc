#include "lobit/memory/pressure_monitor.h"

#include <new>
#include <utility>

#include "lobit/memory/maintenance_thread.h"
#include "lobit/memory/pressure_state_internal.h"

namespace lobit {

using detail::MaintenanceThread;
using detail::NextTurn;
using detail::PressureState;

class PressureMonitor::Polling final : public detail::MaintenanceTask {
 public:
  static Result<std::unique_ptr<Polling>> start(PressureState& state, MaintenanceThread& thread) {
    std::unique_ptr<Polling> polling(new Polling(state, thread));
    LOBIT_RETURN_IF_ERROR(thread.add(*polling));
    polling->stir();
    return polling;
  }
  ~Polling() { thread_.remove(*this); }

 private:
  Polling(PressureState& state, MaintenanceThread& thread)
      : MaintenanceTask(state.options().interval), state_(state), thread_(thread) {}

  NextTurn take_turn() override {
    try {
      state_.check();
    } catch (const std::bad_alloc&) {  // the next look finds what this one missed
      static_cast<void>(0);
    }
    return NextTurn::kAfterPeriod;
  }

  PressureState& state_;
  MaintenanceThread& thread_;
};

Result<std::unique_ptr<PressureMonitor>> PressureMonitor::create(const PressureOptions& options) {
  return create(options, MaintenanceThread::of_process());
}

Result<std::unique_ptr<PressureMonitor>> PressureMonitor::create(const PressureOptions& options,
                                                                 MaintenanceThread& thread) {
  LOBIT_RETURN_IF_ERROR(detail::check_options(options));
  auto state = std::make_shared<PressureState>(options, thread.clock());
  std::unique_ptr<PressureMonitor> monitor(new PressureMonitor(std::move(state)));
  if (options.interval != options.interval.zero()) {
    LOBIT_TRY(monitor->polling_, Polling::start(*monitor->state_, thread));
  }
  return monitor;
}

PressureMonitor::PressureMonitor(std::shared_ptr<PressureState> state)
    : state_(std::move(state)), level_(&state_->level()) {}

PressureMonitor::~PressureMonitor() {
  polling_.reset();
  state_->close();
}

const PressureOptions& PressureMonitor::options() const {
  return state_->options();
}

Status PressureMonitor::watch(HybridMemoryPool& pool, std::string name) {
  return state_->watch(pool, std::move(name));
}

Status PressureMonitor::watch(const MemoryResource& resource, uint64_t limit, std::string name) {
  return state_->watch(resource, limit, std::move(name));
}

void PressureMonitor::unwatch(const MemoryResource& resource) {
  state_->unwatch(resource);
}

PressureMonitor::CallbackId PressureMonitor::add_callback(
    std::function<void(const PressureChange&)> callback) {
  return state_->callbacks().add(std::move(callback));
}

void PressureMonitor::remove_callback(CallbackId id) {
  state_->callbacks().remove(id);
}

MemoryPressureLevel PressureMonitor::check() {
  return state_->check().level;
}

PressureStatus PressureMonitor::status() {
  return state_->check();
}

}  // namespace lobit
