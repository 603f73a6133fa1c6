// See parcel_queue.h.
#include "mda/deliver/parcel_queue.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/spool/accepted.h"

namespace bsmtp::mda {
namespace {

std::string peer_of(const std::string& name) {
  return name.substr(0, name.find('.'));
}

}  // namespace

void ParcelQueue::add(const std::vector<std::string>& names) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::string& name : names) {
    if (known_.insert(name).second) {
      lanes_[peer_of(name)].waiting.push_back(name);
    }
  }
  chores_.notify_one();
}

std::optional<ParcelQueue::Job> ParcelQueue::next(Wait wait) {
  std::unique_lock<std::mutex> lock(mutex_);
  std::optional<Job> job;
  const auto found = [&] { return stopping_ || (job = pick(pick_message, last_peer_)); };
  if (found() || wait == Wait::kNo) {
    return job;
  }
  if (wait == Wait::kForever) {
    messages_.wait(lock, found);
  } else {
    messages_.wait_for(lock, std::chrono::seconds(1), found);
  }
  return job;
}

std::size_t ParcelQueue::to_do() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::size_t messages = 0;
  for (const auto& [peer, lane] : lanes_) {
    for (const auto& parcel : lane.open) {
      messages += parcel->todo.size();
    }
  }
  return messages;
}

std::optional<ParcelQueue::Chore> ParcelQueue::next_chore(Wait wait) {
  std::unique_lock<std::mutex> lock(mutex_);
  std::optional<Chore> chore;
  const auto found = [&] {
    if (!settled_.empty()) {
      chore = Chore{settled_.front()->dir.name(), settled_.front()};
      settled_.pop_front();
    } else if (!closed_) {
      chore = pick(pick_load, last_loaded_);
    }
    return chore || closed_;
  };
  if (!found() && wait != Wait::kNo) {
    chores_.wait(lock, found);
  }
  return chore;
}

template <typename Found>
std::optional<Found> ParcelQueue::pick(std::optional<Found> (*pick_from)(Lane&),
                                       std::string& last_peer) {
  if (stopping_ || paused_ || lanes_.empty()) {
    return std::nullopt;
  }
  // Begin behind the peer that was served last.
  auto lane = lanes_.upper_bound(last_peer);
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (lane == lanes_.end()) {
      lane = lanes_.begin();
    }
    if (std::optional<Found> found = pick_from(lane->second)) {
      last_peer = lane->first;
      ++given_out_;
      return found;
    }
    ++lane;
  }
  return std::nullopt;
}

std::optional<ParcelQueue::Job> ParcelQueue::pick_message(Lane& lane) {
  for (const std::shared_ptr<OpenParcel>& parcel : lane.open) {
    if (!parcel->todo.empty()) {
      Job job{parcel, parcel->todo.front()};
      parcel->todo.pop_front();
      ++parcel->in_work;
      return job;
    }
  }
  return std::nullopt;
}

std::optional<ParcelQueue::Chore> ParcelQueue::pick_load(Lane& lane) {
  if (lane.waiting.empty() || lane.open.size() + lane.loading >= kOpenPerPeer) {
    return std::nullopt;
  }
  Chore chore{lane.waiting.front(), nullptr};
  lane.waiting.pop_front();
  ++lane.loading;
  return chore;
}

void ParcelQueue::opened(const std::string& name, std::shared_ptr<OpenParcel> parcel) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Lane& lane = lanes_[peer_of(name)];
  --lane.loading;
  --given_out_;
  lane.open.push_back(std::move(parcel));
  messages_.notify_all();
}

void ParcelQueue::forget(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto lane = lanes_.find(peer_of(name));
  BSMTP_CHECK(lane != lanes_.end());
  const std::size_t removed = std::erase_if(
      lane->second.open,
      [&](const std::shared_ptr<OpenParcel>& parcel) { return parcel->dir.name() == name; });
  if (removed == 0) {
    --lane->second.loading;
  }
  --given_out_;
  known_.erase(name);
  if (lane->second.open.empty() && lane->second.waiting.empty() && lane->second.loading == 0) {
    lanes_.erase(lane);
  }
  chores_.notify_one();
}

void ParcelQueue::give_back(const Job& job, bool first) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (first) {
    job.parcel->todo.push_front(job.message);
  } else {
    job.parcel->todo.push_back(job.message);
    auto& open = lanes_[peer_of(job.parcel->dir.name())].open;
    const auto place = std::find(open.begin(), open.end(), job.parcel);
    if (place != open.end()) {
      std::rotate(place, place + 1, open.end());
    }
  }
  --job.parcel->in_work;
  --given_out_;
  messages_.notify_one();
}

void ParcelQueue::set_aside(const Job& job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++job.parcel->damaged;
  }
  settled(job, false);
}

void ParcelQueue::settled(const Job& job, bool finished, bool lost) {
  const std::lock_guard<std::mutex> lock(mutex_);
  OpenParcel& parcel = *job.parcel;
  (finished ? parcel.finished : parcel.unfinished).push_back(job.message);
  parcel.lost += lost ? 1 : 0;
  --parcel.in_work;
  if (parcel.in_work == 0 && parcel.todo.empty()) {
    settled_.push_back(job.parcel);  // stays given out until forget()
    chores_.notify_one();
  } else {
    --given_out_;
  }
}

unsigned ParcelQueue::count_broken(const Job& job) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return ++job.parcel->broken[job.message];
}

bool ParcelQueue::own_keys(const std::string& peer, const std::vector<std::string>& keys) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::string& key : keys) {
    if (busy_keys_.count(peer + key) != 0) {
      return false;
    }
  }
  for (const std::string& key : keys) {
    busy_keys_.insert(peer + key);
  }
  return true;
}

void ParcelQueue::release_keys(const std::string& peer, const std::vector<std::string>& keys) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::string& key : keys) {
    busy_keys_.erase(peer + key);
  }
}

void ParcelQueue::pause(TimePoint until) {
  const std::lock_guard<std::mutex> lock(mutex_);
  paused_ = until;
}

std::optional<TimePoint> ParcelQueue::paused_until() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return paused_;
}

void ParcelQueue::resume() {
  const std::lock_guard<std::mutex> lock(mutex_);
  paused_.reset();
  messages_.notify_all();
  chores_.notify_one();
}

void ParcelQueue::look_again(TimePoint when) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!look_again_ || when < *look_again_) {
    look_again_ = when;
  }
}

std::optional<TimePoint> ParcelQueue::look_again_at() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return look_again_;
}

void ParcelQueue::scanning() {
  const std::lock_guard<std::mutex> lock(mutex_);
  look_again_.reset();
}

void ParcelQueue::sleep(std::chrono::milliseconds time) {
  std::unique_lock<std::mutex> lock(mutex_);
  resting_.wait_for(lock, time, [this] { return stopping_; });
}

void ParcelQueue::stop() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stopping_ = true;
  messages_.notify_all();
  resting_.notify_all();
}

void ParcelQueue::close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  closed_ = true;
  chores_.notify_one();
}

bool ParcelQueue::stopping() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stopping_;
}

bool ParcelQueue::idle() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return given_out_ == 0 && (paused_ || known_.empty());
}

}  // namespace bsmtp::mda
