"""The `alstm` commands of this part; see `alstm_ros.cli` for what such a module offers."""
