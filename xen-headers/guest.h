/* SPDX-License-Identifier: GPL-3.0-only */
/* libxenguest, and the table that hvmloader reads from guest memory */
#include <xenctrl.h>
#include <xenguest.h>
#include <xen/hvm/hvm_info_table.h>
