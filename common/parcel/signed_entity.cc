#include "common/parcel/signed_entity.h"

#include "common/base/text.h"
#include "common/crypto/openpgp.h"
#include "common/parcel/format.h"

namespace bsmtp::parcel {

std::string signed_begin(std::string_view boundary) {
  return str_cat({"Content-Type: ", kSignedType, "; micalg=", crypto::Signer::micalg(),
                  ";\r\n protocol=\"", kPgpSignatureType, "\";\r\n boundary=\"", boundary,
                  "\"\r\n\r\n--", boundary, "\r\n"});
}

std::string signed_end(std::string_view boundary, std::string_view signature) {
  // RFC 3156 5: the CRLF before the delimiter belongs to the delimiter; the part has its own.
  std::string text = str_cat({"\r\n--", boundary, "\r\nContent-Type: ", kPgpSignatureType,
                              "; name=\"signature.asc\"\r\n\r\n"});
  for (const std::string_view line : split(trim(signature), '\n')) {
    text += str_cat({line, "\r\n"});
  }
  return text + str_cat({"--", boundary, "--\r\n"});
}

}  // namespace bsmtp::parcel
