"""The commands of `alstm`, one file each; see `alstm_ros.cli` for what such a module offers."""
