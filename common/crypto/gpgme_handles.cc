#include "common/crypto/gpgme_handles.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>
#include <thread>

#include "common/base/text.h"

namespace bsmtp::crypto {
namespace {

constexpr std::chrono::seconds kLockPatience{60};
constexpr std::chrono::milliseconds kLockPoll{10};

constexpr std::size_t kMaxPassphrase = 1024;

void initialise() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::signal(SIGPIPE, SIG_IGN);
    gpgme_check_version(nullptr);
  });
}

Status read_passphrase(const std::string& file, std::string& line) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return Status::from_errno("passphrase file " + file, errno);
  }
  line.resize(kMaxPassphrase);
  const ssize_t got = ::read(fd.get(), line.data(), line.size());
  if (got < 0) {
    return Status::from_errno("passphrase file " + file, errno);
  }
  line.resize(static_cast<std::size_t>(got));
  line.resize(std::min(line.size(), line.find_first_of("\r\n")));
  line += '\n';
  return Status::ok();
}

}  // namespace

Result<Context> new_context(const std::string& home) {
  initialise();
  gpgme_ctx_t raw = nullptr;
  if (const gpgme_error_t error = gpgme_new(&raw); error != 0) {
    return gpgme_trouble("GPGME cannot start", error, "is gnupg installed?");
  }
  Context context(raw);
  gpgme_error_t error = gpgme_set_protocol(raw, GPGME_PROTOCOL_OpenPGP);
  if (error == 0) {
    error = gpgme_ctx_set_engine_info(raw, GPGME_PROTOCOL_OpenPGP, nullptr, home.c_str());
  }
  if (error != 0) {
    return gpgme_trouble("GPGME finds no gpg", error, "install gnupg");
  }
  gpgme_set_offline(raw, 1);
  gpgme_set_armor(raw, 1);
  // Trust comes from pinned fingerprints; without this gpg would want to write a trustdb.
  gpgme_set_ctx_flag(raw, "trust-model", "always");
  return context;
}

Result<UniqueFd> lock_home(const std::string& home, HomeUse use) {
  UniqueFd fd(::open(home.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return Status::from_errno("GnuPG home " + home, errno);
  }
  const auto end = std::chrono::steady_clock::now() + kLockPatience;
  while (::flock(fd.get(), (use == HomeUse::kRead ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    if (errno != EINTR && errno != EWOULDBLOCK) {
      return Status::from_errno("locking GnuPG home " + home, errno);
    }
    if (std::chrono::steady_clock::now() >= end) {
      return Status::temporary(
          "4.3.0",
          "GnuPG home " + home + " is in use for a minute; look for a gpg that hangs there");
    }
    std::this_thread::sleep_for(kLockPoll);
  }
  return fd;
}

Status gpgme_trouble(std::string_view what, gpgme_error_t error, std::string_view remedy) {
  std::string text = str_cat({what, ": ", gpgme_strerror(error)});
  if (!remedy.empty()) {
    text += str_cat({"; ", remedy});
  }
  return Status::temporary("4.7.0", std::move(text));
}

Result<Data> memory_data() {
  gpgme_data_t raw = nullptr;
  if (const gpgme_error_t error = gpgme_data_new(&raw); error != 0) {
    return gpgme_trouble("GPGME data object", error, "");
  }
  return Data(raw);
}

Result<Data> memory_data(std::string_view bytes) {
  gpgme_data_t raw = nullptr;
  if (const gpgme_error_t error = gpgme_data_new_from_mem(&raw, bytes.data(), bytes.size(), 0);
      error != 0) {
    return gpgme_trouble("GPGME data object", error, "");
  }
  return Data(raw);
}

Result<std::string> take_bytes(Data data) {
  std::size_t size = 0;
  char* bytes = gpgme_data_release_and_get_mem(data.release(), &size);
  if (bytes == nullptr) {
    return Status::temporary("4.3.0", "GPGME returned no data");
  }
  std::string out(bytes, size);
  gpgme_free(bytes);
  return out;
}

Result<std::unique_ptr<SourceData>> SourceData::make(Source& from) {
  static const gpgme_data_cbs kCallbacks = {&SourceData::read_callback, nullptr, nullptr, nullptr};
  std::unique_ptr<SourceData> self(new SourceData(from));
  gpgme_data_t raw = nullptr;
  // GPGME takes the table by a pointer that is not const, and does not write to it.
  if (const gpgme_error_t error = gpgme_data_new_from_cbs(
          &raw, const_cast<gpgme_data_cbs*>(&kCallbacks), self.get());  // NOLINT
      error != 0) {
    return gpgme_trouble("GPGME data object", error, "");
  }
  self->data_.reset(raw);
  // Measured: twice GPGME's default costs least; from 16 KiB on it moves memory about, because gpg
  // reads 8 KiB at a time.
  gpgme_data_set_flag(raw, "io-buffer-size", "8192");
  return self;
}

ssize_t SourceData::read_callback(void* self, void* buffer, std::size_t size) {
  auto& data = *static_cast<SourceData*>(self);
  try {
    Result<std::size_t> got = data.read(static_cast<char*>(buffer), size);
    if (got.is_ok()) {
      return static_cast<ssize_t>(*got);
    }
    data.failure_ = got.status();
  } catch (const std::exception& e) {
    data.failure_ = Status::temporary("4.3.0", e.what());
  }
  errno = EIO;
  return -1;
}

Result<std::size_t> SourceData::read(char* buffer, std::size_t size) {
  if (pos_ == end_) {
    TRY_ASSIGN(end_, from_.read(block_));
    pos_ = 0;
  }
  const std::size_t now = std::min(size, end_ - pos_);
  std::copy_n(block_.data() + pos_, now, buffer);
  pos_ += now;
  return now;
}

void Passphrase::attach(gpgme_ctx_t context) {
  gpgme_set_pinentry_mode(context, GPGME_PINENTRY_MODE_LOOPBACK);
  gpgme_set_passphrase_cb(context, &Passphrase::callback, this);
}

gpgme_error_t Passphrase::callback(void* self, const char* /*hint*/, const char* /*info*/,
                                   int was_bad, int fd) {
  auto& passphrase = *static_cast<Passphrase*>(self);
  try {
    if (was_bad != 0) {
      passphrase.failure_ = Status::temporary(
          "4.7.0", "the passphrase in " + passphrase.file_ + " is not the one of the key");
      return gpgme_error(GPG_ERR_BAD_PASSPHRASE);
    }
    if (passphrase.file_.empty()) {
      passphrase.failure_ = Status::temporary(
          "4.7.0", "the key has a passphrase; set sign-passphrase-file in the configuration");
      return gpgme_error(GPG_ERR_NO_PASSPHRASE);
    }
    std::string line;
    passphrase.failure_ = read_passphrase(passphrase.file_, line);
    if (!passphrase.failure_.is_ok()) {
      return gpgme_error(GPG_ERR_NO_PASSPHRASE);
    }
    const bool written = gpgme_io_writen(fd, line.data(), line.size()) == 0;
    std::fill(line.begin(), line.end(), '\0');
    return written ? 0 : gpgme_error_from_syserror();
  } catch (const std::exception&) {
    return gpgme_error(GPG_ERR_ENOMEM);
  }
}

Result<Key> find_key(gpgme_ctx_t context, const std::string& fingerprint, bool secret) {
  gpgme_key_t raw = nullptr;
  const gpgme_error_t error = gpgme_get_key(context, fingerprint.c_str(), &raw, secret ? 1 : 0);
  if (error == 0) {
    return Key(raw);
  }
  if (gpgme_err_code(error) == GPG_ERR_EOF) {
    return Key();
  }
  return gpgme_trouble("looking up key " + fingerprint, error, "");
}

}  // namespace bsmtp::crypto
