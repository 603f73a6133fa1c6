# Parcel building and opening against gzip, base64, gpg and zlib: tests/bench/parcel_bench.
if(TARGET parcel_tool)
  add_custom_target(parcel_bench DEPENDS parcel_tool)
  add_dependencies(benchmarks parcel_bench)
endif()
